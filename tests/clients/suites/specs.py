"""Our declarations of Kafka's messages against the specifications inside Kafka's own jars: fields, types, versions, tags, defaults."""

import subprocess
import tempfile
import zipfile

from harness import prepare

FOLDER = "common/message/"


def run(suite, target):
    suite.test("declarations-are-those-of-kafka", check, limit_s=600)


def check():
    prepare.need_program("cargo")
    with tempfile.TemporaryDirectory() as folder:
        for path in prepare.specification_jars():
            with zipfile.ZipFile(path) as jar:
                jar.extractall(folder, [name for name in jar.namelist() if name.startswith(FOLDER)])
        command = ["cargo", "run", "--quiet", "--package", "highwater-protocol", "--example", "spec-check", "--", f"{folder}/{FOLDER}"]
        ended = subprocess.run(command, cwd=prepare.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:]

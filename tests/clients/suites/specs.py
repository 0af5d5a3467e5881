"""Our declarations of Kafka's messages against Kafka's own jars: against the specifications in them (fields, types, versions, tags,
defaults), and against the classes made from these, which read what we write and must write the same."""

import subprocess
import tempfile
import zipfile

from harness import prepare

FOLDER = "common/message/"


def run(suite, target):
    suite.test("declarations-are-those-of-kafka", declarations, limit_s=600)
    suite.test("bytes-are-those-of-kafka", written_again, limit_s=600)


def example(name, *arguments):
    prepare.need_program("cargo")
    return ["cargo", "run", "--quiet", "--package", "highwater-protocol", "--example", name, "--", *arguments]


def declarations():
    with tempfile.TemporaryDirectory() as folder:
        for path in prepare.specification_jars():
            with zipfile.ZipFile(path) as jar:
                jar.extractall(folder, [name for name in jar.namelist() if name.startswith(FOLDER)])
        command = example("spec-check", f"{folder}/{FOLDER}")
        ended = subprocess.run(command, cwd=prepare.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:]


def written_again():
    classpath = prepare.java_suite()
    with tempfile.TemporaryFile() as messages:
        ended = subprocess.run(example("random-messages"), cwd=prepare.REPOSITORY, stdout=messages, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 0, ended.stderr[-2000:]
        messages.seek(0)
        command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", classpath, "highwater.suite.Rewrite"]
        ended = subprocess.run(command, stdin=messages, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:]

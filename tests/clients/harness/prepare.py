"""Builds what the suites need, below `.cache` only: Kafka's jars, our Java suite, the broker's binary."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
CACHE = HERE / ".cache"
JARS = CACHE / "jars"
JAVA_BUILD = CACHE / "java"
# Class data sharing and the first compiler tier: a tool that lives a second should not spend three on warming up.
SHORT_LIVED_JVM = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m"]


# The classes of Kafka's tools as the JVM keeps them in memory: they start in half the time.
TOOL_CLASSES = CACHE / "tools.jsa"


class CannotPrepare(Exception):
    """Something the suites need is not there; the message says what to do."""


def need_program(name):
    if shutil.which(name) is None:
        raise CannotPrepare(f"{name} is not on the PATH: the suites are never skipped, so install it and run again")


def jars():
    """Kafka's client, tools and server, fetched once for each state of the pom."""
    pom = HERE / "java" / "pom.xml"
    stamp = JARS / "pom.sha256"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(JARS, ignore_errors=True)
        maven("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={JARS}")
        stamp.write_text(digest)
        TOOL_CLASSES.unlink(missing_ok=True)
    return JARS


def tool_jvm(bootstrap):
    """How to start a tool of Kafka's, with its class path. What a first one has loaded, with that broker, is kept for the others."""
    command = [*SHORT_LIVED_JVM, "-Xlog:disable", "-cp", f"{jars()}/*"]
    if not TOOL_CLASSES.exists():
        tool = ["org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", bootstrap, "--list"]
        # Two suites may come here at once.
        own = TOOL_CLASSES.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, f"-XX:ArchiveClassesAtExit={own}", *tool], capture_output=True)
        if own.exists():
            own.replace(TOOL_CLASSES)
    # A JVM that finds it is not its own does without.
    return [*command, f"-XX:SharedArchiveFile={TOOL_CLASSES}"]


def everything(target):
    """Builds what several suites use before any begins: none is to find half of it."""
    java_suite()
    go_suite()
    rust_suite()
    node_suite()
    if target == "highwater":
        os.environ["HIGHWATER_BINARY"] = str(highwater_binary())


def client_jar():
    """The jar with Kafka's message specifications in it."""
    found = list(jars().glob("kafka-clients-*.jar"))
    assert len(found) == 1, f"{len(found)} jars of kafka-clients"
    return found[0]


def specification_jars():
    """The jars with Kafka's specifications of messages and of the groups' records in them."""
    found = [client_jar(), *jars().glob("kafka-group-coordinator-[0-9]*.jar")]
    assert len(found) == 2, f"{len(found) - 1} jars of kafka-group-coordinator"
    return found


def java_suite():
    """The classpath of the compiled Java suite."""
    jars()
    sources = sorted((HERE / "java" / "src").rglob("*.java"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = JAVA_BUILD / "sources.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(JAVA_BUILD, ignore_errors=True)
        maven("compile")
        stamp.write_text(digest)
    return f"{JAVA_BUILD / 'classes'}:{JARS}/*"


def go_suite(name="suite"):
    """One of the compiled Go programs; Go itself knows whether anything has changed."""
    folder = CACHE / "go"
    folder.mkdir(exist_ok=True)
    build(["go", "build", "-o", f"{folder}/", "./..."], HERE / "go")
    return folder / name


def rust_suite():
    """The compiled suite of another Rust client."""
    need_program("cargo")
    folder = CACHE / "rust"
    build(["cargo", "build", "--quiet", "--locked", "--target-dir", str(folder)], HERE / "rust")
    return folder / "debug" / "client-suite"


def node_suite():
    """The JavaScript suite beside the packages it names, where Node.js looks for them."""
    need_program("npm")
    folder, sources = CACHE / "node", HERE / "node"
    folder.mkdir(exist_ok=True)
    named = (sources / "package.json").read_text()
    stamp = folder / "installed.json"
    for source in sources.iterdir():
        shutil.copy(source, folder)
    if not stamp.exists() or stamp.read_text() != named:
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        build(["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder)
        stamp.write_text(named)
    return folder / "main.js"


def build(command, folder):
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise CannotPrepare(f"`{' '.join(command)}` failed:\n{ended.stdout[-3000:]}")


def maven(*arguments):
    command = ["mvn", "-B", "-q", "-f", str(HERE / "java" / "pom.xml"), f"-Dbuild.folder={JAVA_BUILD}", *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise CannotPrepare(f"`{' '.join(command)}` failed:\n{ended.stdout[-3000:]}")


def highwater_binary():
    """The release binary, built from this repository, unless HIGHWATER_BINARY names one."""
    if named := os.environ.get("HIGHWATER_BINARY"):
        return Path(named)
    need_program("cargo")
    command = ["cargo", "build", "--release", "--quiet", "--package", "highwater-cli", "--message-format=json"]
    ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        raise CannotPrepare(f"`{' '.join(command)}` failed, see above")
    for line in ended.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            if message["target"]["name"] == "highwater":
                return Path(message["executable"])
    raise CannotPrepare("cargo built highwater-cli but named no binary `highwater`")


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)

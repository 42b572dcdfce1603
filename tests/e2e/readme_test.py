"""The commands of README.md and docs/first-hour.md run in their order in a fresh clone, with the programs of this build."""

import os
import re
import shutil
import subprocess
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import BIN, ENVIRONMENT, ROOT  # noqa: E402

SKIPPED = {  # command -> why no test runs it
    "./scripts/quickstart": "installs packages and trains for minutes; its trainings, evaluations and table are commands of their own",
    "./scripts/test": "runs this test",
}
SHORTER = {  # end of a command -> what is added to it, to save time
    "--set output=runs/lora-r4": "--set train.max_steps=4",
    "--config configs/quickstart/sweep.json": "--set train.max_steps=2",
    "--set train.max_steps=225": "--set train.max_steps=20",
    "--find-rate --set train.max_steps=30": "--set train.max_steps=2",
    "--config configs/quickstart/lora.json --find-rate": "--set train.max_steps=2",
}
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text):
    """Lines of the sh blocks, without comments; lines that end in a backslash are joined."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").split("\n"):
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            if line:
                yield line


def test_commands_are_the_lines_of_sh_blocks():
    text = "```sh\na b   # why\n\n# all of it\nc \\\n  d\n```\n```jsonc\ne\n```\n"
    assert list(commands(text)) == ["a b", "c    d"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The files under version control as they are now, with this build and this environment."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the files of the project are not known")
    if not (ROOT / "models" / "minilm" / "model.safetensors").exists():
        pytest.skip("no models/minilm: scripts/setup was not run")
    folder = tmp_path_factory.mktemp("readme") / "clone"
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "build").mkdir()
    (folder / "models").mkdir()
    for made, target in {"build/bin": BIN.resolve(), ".venv": ROOT / ".venv", "models/minilm": (ROOT / "models" / "minilm").resolve()}.items():
        (folder / made).symlink_to(target)
    return folder


def run_all(page, clone):
    """Seconds of each command."""
    took = {}
    for command in commands((ROOT / page).read_text()):
        if command in SKIPPED:
            continue
        shorter = command + "".join(f" {added}" for end, added in SHORTER.items() if command.endswith(end))
        start = time.monotonic()
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", shorter], cwd=clone, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
        took[command] = round(time.monotonic() - start, 1)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.stdout or ">" in command or command.startswith("cp ") or done.stderr, f"{command}: says nothing"
    print(took)
    return took


def test_every_command_of_the_readme_runs_in_its_order(clone):
    listed = list(commands((ROOT / "README.md").read_text()))
    assert len(listed) > 5 and set(SKIPPED) <= set(listed)
    for method in ("lora", "prefix"):  # of the quickstart, whose adapters later commands use
        config = f"configs/quickstart/{method}.json"
        subprocess.run([BIN / "peft-train", "--config", config, "--set", "train.max_steps=4"], cwd=clone, check=True, capture_output=True, env=ENVIRONMENT)
    run_all("README.md", clone)
    assert os.path.getsize(clone / "config.schema.json") > 1000
    assert (clone / "runs" / "quickstart-sweep" / "summary.md").exists()


def test_every_command_of_the_first_hour_runs_in_its_order(clone):
    (clone / "gloss.json").unlink(missing_ok=True)  # the README writes one, too
    assert len(run_all("docs/first-hour.md", clone)) > 10
    assert (clone / "sent" / "task.json").exists()


def test_what_is_shortened_is_there():
    listed = [command for page in ("README.md", "docs/first-hour.md") for command in commands((ROOT / page).read_text())]
    assert all(any(line.endswith(end) for line in listed) for end in SHORTER)

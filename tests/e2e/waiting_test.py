"""How many threads run and how they wait: as the environment says, beside busy processes, and never for --help.

libgomp prints its settings once for each program that loads it, when OMP_DISPLAY_ENV is set. So its lines count the starts of a program.
"""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import BIN, World  # noqa: E402

PROGRAMS = sorted(f.name for f in BIN.glob("peft-*") if os.access(f, os.X_OK))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("waiting"))


@pytest.fixture(scope="module")
def cores():
    """Two cores on which two other processes are busy; one where this machine has one."""
    usable = sorted(os.sched_getaffinity(0))[:2]
    busy = [subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {usable})\nwhile True: pass"]) for _ in usable]
    yield usable
    for process in busy:
        process.kill()
        process.wait()


def policies(cores, program, *arguments, **environment):
    """The waiting policy of each start of the program, in order."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "MKL_"))}
    done = subprocess.run(
        [BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=120,
        env=inherited | {"OMP_DISPLAY_ENV": "TRUE"} | environment, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return re.findall(r"OMP_WAIT_POLICY = '(\w+)'", done.stderr)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_starts_no_second_process(cores, program):
    for arguments in [["--help"]] + [[name, "--help"] for name in ["logits"] if program == "peft-tool"]:
        assert len(policies(cores, program, *arguments)) <= 1


def test_a_mistake_in_the_command_line_starts_no_second_process(cores):
    done = subprocess.run([BIN / "peft-train", "--confg", "x"], capture_output=True, text=True, env=os.environ | {"OMP_DISPLAY_ENV": "TRUE"})
    assert done.returncode == 2 and done.stderr.count("OMP_WAIT_POLICY") <= 1


@pytest.mark.parametrize("environment, threads, starts", [
    ({"OMP_NUM_THREADS": "2"}, 0, 2),
    ({"OMP_NUM_THREADS": "1"}, 0, 1),  # nobody to wait for
    ({"OMP_NUM_THREADS": "1"}, 2, 2),  # the config wins
    ({"OMP_NUM_THREADS": "2"}, 1, 1),
    ({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE"}, 0, 1),  # the user's policy stands
])  # fmt: skip
def test_beside_busy_processes_threads_do_not_spin(world, cores, environment, threads, starts):
    name = f"run-{'-'.join(environment.values())}-{threads}"
    config = world.write_config(world.config("lora", world.path / name, {"max_steps": 2, "num_threads": threads}))
    found = policies(cores, "peft-train", "--config", config, **environment)
    assert len(found) == starts
    assert found[-1] == ("PASSIVE" if starts == 2 else environment.get("OMP_WAIT_POLICY", "PASSIVE"))


def test_the_other_programs_do_not_spin_either(world, cores):
    config = world.config("lora", world.path / "others", {"max_steps": 2})
    world.finished(config)
    texts = world.path / "texts.jsonl"
    texts.write_text('{"text": "a good film"}\n')
    sweep = world.write_config(config | {"output": str(world.path / "swept"), "sweep": {"train.seed": [1, 2]}}, "swept")
    for program, *arguments in [
        ("peft-eval", "--adapter", world.path / "others"),
        ("peft-tool", "logits", "--model", world.model, "--adapter", world.path / "others", "--input", texts, "--output", world.path / "logits.safetensors"),
        ("peft-sweep", "--config", sweep),
    ]:  # fmt: skip
        assert policies(cores, program, *arguments, OMP_NUM_THREADS="2")[1:] == ["PASSIVE"], program


def most_threads(program, *arguments, **environment):
    """The largest number of threads that the running program has had, looked at until it ends."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "MKL_"))}
    process = subprocess.Popen([BIN / program, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=inherited | {"OMP_WAIT_POLICY": "PASSIVE"} | environment)
    most = 0
    while process.poll() is None:
        try:
            most = max(most, len(os.listdir(f"/proc/{process.pid}/task")))
        except FileNotFoundError:
            break
    assert process.wait() == 0
    return most


@pytest.mark.parametrize("wanted", [1, 3])
def test_zero_threads_are_those_of_the_environment(world, wanted):
    """As many as the config may ask for. (Reading starts helpers of its own for 128 rows and more; these 60 are read by one.)"""

    def most(name, num_threads, **environment):
        config = world.config("lora", world.path / f"{name}{wanted}", {"max_steps": 20, "num_threads": num_threads})
        return most_threads("peft-train", "--config", world.write_config(config), **environment)

    found, one = most("environment", 0, OMP_NUM_THREADS=str(wanted)), most("one", 1)  # with the threads of libraries
    assert found == most("config", wanted) and (found == one) == (wanted == 1)

"""Golden command lines."""

from __future__ import annotations

from pathlib import Path

from mlipilot.jobs.commands import checkpoint_environment, evaluate_argv, job_environment, train_argv


def test_train() -> None:
    assert train_argv("/opt/python", Path("/run/data"), Path("/run/out"), 3, 500) == [
        "/opt/python",
        *["-s", "-B", "-u", "train.py", "--recipe", "recipe.yaml", "--data", "/run/data/train"],
        *["--output", "/run/out", "--seed", "3", "--max-steps", "500"],
    ]


def test_a_training_is_told_where_and_how_often_to_keep_its_checkpoint() -> None:
    told = checkpoint_environment(Path("/run/out/checkpoint"), 300.0)
    assert told == {
        "MLIPILOT_CHECKPOINT": "/run/out/checkpoint",
        "MLIPILOT_CHECKPOINT_INTERVAL_S": "300",
    }


def test_evaluate() -> None:
    paths = Path("/m"), Path("/d"), Path("/s.yaml")
    argv = evaluate_argv("/opt/python", *paths, "smoke", Path("/o"), "sealed", "cpu")
    assert argv == [
        "/opt/python",
        *[
            "-s",
            "-B",
            "-u",
            "-m",
            "mlipilot.evaluation",
            "--model",
            "/m",
            "--data",
            "/d",
            "--scorecard",
            "/s.yaml",
        ],
        *["--profile", "smoke", "--output", "/o", "--split", "sealed", "--device", "cpu"],
    ]


def test_environment_keeps_a_few_names_only() -> None:
    inherited = {
        "PATH": "/bin",
        "HOME": "/root",
        "OPENAI_API_KEY": "sk",
        "SLURM_JOB_ID": "1",
        "SSH_AUTH_SOCK": "/s",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    cpu = job_environment(inherited, Path("/a/home"), use_gpu=False)
    assert cpu["HOME"] == "/a/home" and cpu["PATH"] == "/bin" and cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert not {"OPENAI_API_KEY", "SLURM_JOB_ID", "SSH_AUTH_SOCK"} & cpu.keys()
    assert job_environment(inherited, Path("/a/home"), use_gpu=True)["CUDA_VISIBLE_DEVICES"] == "1"

from cirlib import environment
from cirlib.cli import main
from cirlib.environment import Finding


def test_check_prints_one_line_per_finding(monkeypatch, capsys):
    findings = [Finding("OK", "python", "3.11.7"), Finding("--", "data cirr", "is not here")]
    monkeypatch.setattr(environment, "check_environment", lambda root: findings)
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[OK]   python") and lines[1].startswith("[--]   data cirr")
    assert lines[-1].startswith("Ready.")


def test_a_failure_sets_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(environment, "check_environment", lambda root: [Finding("FAIL", "torch", "1.0; >=2.11 is needed, run make setup")])
    assert main(["check"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Not ready: torch."

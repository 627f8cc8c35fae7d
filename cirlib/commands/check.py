"""`cirlib check`: is this machine ready?"""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    subparsers.add_parser("check", help="is this machine ready? versions, device, memory, disk, checkpoints, data")


def run(args: argparse.Namespace) -> int:
    """Print one line per finding and a verdict. Returns 1 when something that every run needs is wrong, else 0."""
    from cirlib.config import find_root
    from cirlib.environment import check_environment

    findings = check_environment(find_root())
    for finding in findings:
        print(finding)
    failed = [finding.name for finding in findings if finding.state == "FAIL"]
    if failed:
        print(f"\nNot ready: {', '.join(failed)}.")
        return 1
    print("\nReady. `PROFILE=smoke make results` takes minutes, `make results` regenerates what the README shows.")
    return 0

"""Prints line coverage per file and crate. Fails below 95 % of `core` or 90 % of the other crates."""
import json
import sys
from collections import defaultdict

LEAST_PERCENT = {"core": 95.0}
LEAST_PERCENT_OF_OTHERS = 90.0


def main() -> int:
    """Reads the JSON export of llvm-cov that the command line names."""
    with open(sys.argv[1], encoding="utf-8") as report:
        files = json.load(report)["data"][0]["files"]
    crates: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in sorted(files, key=lambda file: file["filename"]):
        parts = file["filename"].split("/crates/")
        if len(parts) < 2:
            continue
        lines = file["summary"]["lines"]
        print(f"{lines['percent']:6.1f} %  {lines['covered']:5}/{lines['count']:<5} {parts[-1]}")
        total = crates[parts[-1].split("/")[0]]
        total[0] += lines["covered"]
        total[1] += lines["count"]
    failed = False
    print("crates:")
    others = [0, 0]
    for crate, (covered, count) in crates.items():
        print(f"{100 * covered / count:6.1f} %  {covered:5}/{count:<5} {crate}")
        if crate in LEAST_PERCENT:
            failed |= 100 * covered / count < LEAST_PERCENT[crate]
        else:
            others[0] += covered
            others[1] += count
    percent = 100 * others[0] / max(others[1], 1)
    print(f"{percent:6.1f} %  {others[0]:5}/{others[1]:<5} all but core")
    failed |= percent < LEAST_PERCENT_OF_OTHERS
    if failed or not crates:
        print("coverage is too low: it must be at least 95 % of core and 90 % of the other crates", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

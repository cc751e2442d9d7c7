"""Measures detection and the relay. Called by bench.sh; prints a table in Markdown.

Every figure is the median of ROUNDS rounds, which alternate between the variants, because the machine is shared.
"""

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time

BIN, DATA, RELAY, HOLD = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
ROUNDS = 3
KEYS = 2_000

SETUP = """
CREATE TABLE plain (token_id text PRIMARY KEY, price numeric);
CREATE TABLE watched (token_id text PRIMARY KEY, price numeric);
INSERT INTO plain SELECT 't' || n, 100 FROM generate_series(1, %d) AS n;
SELECT realtime.watch('watched', 'price');
INSERT INTO watched SELECT * FROM plain;
""" % KEYS
# 15 % of the updates are significant.
UPDATE = r"""
\set key random(1, %d)
\set step random(1, 100)
UPDATE %s SET price = 100 + (CASE WHEN :step <= 15 THEN :step ELSE 0 END) * 0.5 + 0.00001 * :step WHERE token_id = 't' || :key;
"""


def sql(statement):
    """Runs a statement."""
    command = [BIN + "/psql", "--no-psqlrc", "--quiet", "-At", "--set", "ON_ERROR_STOP=1", "--command", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def percentile(values, share):
    """The value below which a share of the values lies."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def pgbench(table, seconds, rate=None):
    """Updates a table from 8 clients. Returns transactions per second, and the latencies in ms."""
    script = os.path.join(DATA, table + ".pgbench")
    with open(script, "w") as file:
        file.write(UPDATE % (KEYS, table))
    log = os.path.join(DATA, "log-" + table)
    command = [BIN + "/pgbench", "--no-vacuum", "--client", "8", "--jobs", "2", "--time", str(seconds), "--file", script, "--log",
               "--log-prefix", log, "--protocol", "prepared"]
    command += ["--rate", str(rate)] if rate else []
    subprocess.run(command, check=True, capture_output=True)
    latencies = []
    for name in os.listdir(DATA):
        if name.startswith("log-" + table + "."):
            path = os.path.join(DATA, name)
            for line in open(path):
                fields = line.split()
                # With a rate, the time includes the wait for the turn of the transaction; the last column is that wait.
                wait = int(fields[6]) if rate and len(fields) > 6 else 0
                latencies.append((int(fields[2]) - wait) / 1000)
            os.remove(path)
    return len(latencies) / seconds, latencies


class Relay:
    """A relay, for as long as a `with` lasts."""

    def __enter__(self):
        self.process = subprocess.Popen([RELAY, "run"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while sql("SELECT count(*) FROM realtime.lease WHERE relay IS NOT NULL") != "16":
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Subscriber(threading.Thread):
    """Collects the time from each change to its publication, ms."""

    def __init__(self):
        super().__init__(daemon=True)
        port = int(os.environ["REDIS_URL"].rsplit(":", 1)[1])
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.sendall(b"SUBSCRIBE events:prices\r\n")
        self.latencies = []
        self.start()

    def run(self):
        buffer = b""
        while chunk := self.connection.recv(1 << 20):
            now = time.time() * 1000
            *lines, buffer = (buffer + chunk).split(b"\r\n")
            for line in lines:
                if line.startswith(b"{"):
                    self.latencies.append(now - json.loads(line)["timestamp"])


def copy(table, backfill=False):
    """Loads 100,000 rows of which 15 % are significant. Returns ms."""
    sql("DROP TABLE IF EXISTS load; CREATE TABLE load (token_id text PRIMARY KEY, price numeric)")
    if table == "watched":
        sql("SELECT realtime.watch('load', 'price')")
    sql("INSERT INTO load SELECT 'c' || n, 100 FROM generate_series(1, 100000) AS n; TRUNCATE load, realtime.outbox")
    path = os.path.join(DATA, "rows")
    with open(path, "w") as file:
        for n in range(1, 100_001):
            file.write("c%d\t%s\n" % (n, "102" if random.random() < 0.15 else "100.00001"))
    mode = "SET realtime.backfill = 'on';" if backfill else ""
    began = time.time()
    sql("%s COPY load FROM '%s'" % (mode, path))
    took = (time.time() - began) * 1000
    if table == "watched":
        sql("SELECT realtime.unwatch('load'); TRUNCATE realtime.outbox; DELETE FROM realtime.last_price WHERE id LIKE 'c%'")
    return took


def row(what, figure, goal):
    print("| %s | %s | %s |" % (what, figure, goal), flush=True)


def backlog():
    """How many changes a second a relay takes out of a backlog of 100,000."""
    sql("INSERT INTO watched SELECT 'b' || n, 100 FROM generate_series(1, 100000) AS n ON CONFLICT (token_id) DO UPDATE SET price = 100")
    sql("TRUNCATE realtime.outbox; UPDATE watched SET price = 200 + random() WHERE token_id LIKE 'b%'")
    count = int(sql("SELECT count(*) FROM realtime.outbox"))
    began = time.time()
    with Relay():
        while sql("SELECT sum(changes) FROM realtime.backlog") != "0":
            time.sleep(0.2)
        took = time.time() - began
    sql("DELETE FROM watched WHERE token_id LIKE 'b%'")
    return count / took


def main():
    subprocess.run([RELAY, "migrate"], check=True, stdout=subprocess.DEVNULL)
    sql(SETUP)
    print("| what | measured | goal |\n|---|---|---|")

    rates = {"plain": [], "watched": []}
    for _ in range(ROUNDS):
        for table in rates:
            rates[table].append(pgbench(table, 6)[0])
    plain, watched = (statistics.median(rates[table]) for table in ("plain", "watched"))
    row("writers' throughput with detection", "%.0f %% of that without (%.0f of %.0f/s)" % (100 * watched / plain, watched, plain), "≥ 70 %")

    loads = {"plain": [], "watched": [], "backfill": []}
    for _ in range(ROUNDS):
        loads["plain"].append(copy("plain"))
        loads["watched"].append(copy("watched"))
        loads["backfill"].append(copy("watched", backfill=True))
    plain, watched, backfill = (statistics.median(times) for times in loads.values())
    row("`COPY` of 100,000 rows, 15 % significant", "%.1f× (%.0f of %.0f ms)" % (watched / plain, watched, plain), "≤ 2.0×")
    row("the same as a backfill", "%.1f×" % (backfill / plain), "≤ 1.7×")

    row("relay, backlog of 100,000 changes, without SQS", "%.0f changes/s" % backlog(), "≥ 10,000")

    with Relay():
        _, without = pgbench("plain", 10, rate=1000)
        subscriber = Subscriber()
        _, latencies = pgbench("watched", 15, rate=1000)
        time.sleep(1)
        published = list(subscriber.latencies)
        figure = "p50 %.2f, p99 %.2f ms (without detection: %.2f, %.2f)"
        both = [percentile(values, share) for values in (latencies, without) for share in (0.5, 0.99)]
        row("update to outbox row, 1,000/s from 8 clients", figure % tuple(both), "p99 ≤ 2 ms")
        figures = (percentile(published, 0.5), percentile(published, 0.99), len(published))
        row("change to Redis publication at that load", "p50 %.1f, p99 %.1f ms of %d" % figures, "p50 ≤ 5, p99 ≤ 25 ms")

        holder = subprocess.Popen([BIN + "/psql", "--no-psqlrc", "-q"], stdin=subprocess.PIPE, text=True)
        holder.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current(), count(*) FROM plain;\n\\! true\n")
        holder.stdin.flush()
        time.sleep(1)
        subscriber = Subscriber()
        end = time.time() + HOLD
        while time.time() < end:
            pgbench("watched", 10, rate=2000)
        held = list(subscriber.latencies)
        dead = sql("SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname IN ('outbox_0', 'outbox_1')")
        holder.stdin.close()
        holder.wait()
        ratio = percentile(held, 0.99) / percentile(published, 0.99)
        figure = "p99 %.1f ms, %.1f× the run before at 1,000/s; %s dead rows in the outbox"
        row("a foreign transaction held for %d s, 2,000 updates/s" % HOLD, figure % (percentile(held, 0.99), ratio, dead), "≤ 2×, 0")


main()

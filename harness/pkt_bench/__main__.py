"""`python -m pkt_bench` is `pkt-bench`."""

from pkt_bench.cli import main

if __name__ == "__main__":
    main()

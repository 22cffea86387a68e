"""`python -m porcelain`, which `accelerate launch -m porcelain` needs."""

from porcelain.cli.main import main

if __name__ == "__main__":
    main()

"""python -m local_stack.sandbox stripe|brevo …"""

from local_stack.sandbox.command import main

if __name__ == "__main__":
    main()

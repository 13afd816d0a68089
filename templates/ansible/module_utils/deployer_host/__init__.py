"""What deployer does on a host. Standard library only, Python 3.8 and newer.

Runs inside Ansible's module there, and inside deployer itself to look at a local host.
"""

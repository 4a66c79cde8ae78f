"""Third-party plugins in processes of their own: rows, but no keys, no files of the host, no network.

`launcher` is the process that they are forked from, `layers` what the kernel takes away from them, `child` what runs
inside, `calling` and `proxies` how the rest of the host uses them as if they were its own.
"""

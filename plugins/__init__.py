"""The plugins that ship with fedcore, one folder each."""

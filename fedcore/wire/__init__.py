"""What crosses the wire between organisations: messages, signatures, keys.

Who can see what, assuming what: every message is signed (Ed25519, RFC 8032) by the person or host that
says it, and whoever receives it verifies the signature before reading the content. Signatures protect
against forging and altering, not against reading: confidential bytes (artefacts for one owner, shares of
a run key) are sealed on top (HPKE, RFC 9180), so that the coordinator, which carries them, learns their
size and nothing else. Nothing here imports Django or torch.
"""

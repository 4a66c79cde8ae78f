"""Examples: what people and plugin authors write. Nothing in fedcore imports them."""

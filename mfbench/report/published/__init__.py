"""Results that others have published, in `lines.yaml`: `registry` reads them, `beside` compares runs with them."""

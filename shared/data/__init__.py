"""Prepared datasets: tokenizer, packed rows, and the manifest that identifies them."""

"""The schema's history. `cuebx migrate` applies it."""

"""One file per Lua global; `_base.py` holds their contract."""

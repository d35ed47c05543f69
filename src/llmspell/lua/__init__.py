"""Lua 5.4 spells: the engine, the crossing between Lua and async Python, the sandbox, and the globals."""

"""Caches in tiers: L1 memory (cost-aware), L2 disk (LMDB), L3 Redis; one flight per key."""

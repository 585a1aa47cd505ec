"""What every layer shares: errors, wire structs, protocols, timings, instruments."""

"""Speed, scale and the peers, measured side by side: `make bench`, `make bench-growth`, `make bench-quick`."""

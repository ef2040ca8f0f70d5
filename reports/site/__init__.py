"""All runs of a store as a static site: pages, data, feed, badges."""

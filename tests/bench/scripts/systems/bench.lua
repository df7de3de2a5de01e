-- The system that tests/bench/bench.py measures: one service with a route and a resource.
return {
  services = { bench = {} },
  breakers = { closed = {}, open = { force_open = true } },
}

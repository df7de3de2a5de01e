-- One hot row, and 64 rows of which any may be hit: the same work, so that their ratio is the price of the hot row.
return {
  resource "counters" {
    service = "bench",
    rel     = "counter",
    fields  = { integer "n" { default = 0 } },
  },

  route "hot" {
    service = "bench",
    method  = "POST",
    path    = "/hot",
    handle  = function()
      store.add("counters", 1, { n = 1 })
    end,
  },

  route "spread" {
    service = "bench",
    method  = "POST",
    path    = "/spread",
    handle  = function()
      store.add("counters", math.random(64), { n = 1 })
    end,
  },
}

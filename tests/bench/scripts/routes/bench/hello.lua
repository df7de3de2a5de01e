return route "hello" {
  service = "bench",
  method  = "GET",
  path    = "/hello",
  handle  = function()
    return { message = "hello" }
  end,
}

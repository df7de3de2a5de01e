-- A book shop: an order is paid while it is placed, then delivered, and its customer is told about it.
return {
  services = { order = {}, payment = {}, delivery = {}, bookalarm = {} },
  breakers = { payment = { timeout_ms = 1000, limit = 200 } },
  config = {},
}

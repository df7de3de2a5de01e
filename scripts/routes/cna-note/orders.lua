local health = use "lib.health"
local pay = breaker "payment"

return {
  event "Ordered" {
    service = "order",
    key     = { order = "id" },
    fields  = {
      integer "id", integer "branchId", text "sauceId", integer "qty", integer "price", text "state",
    },
  },

  resource "orders" {
    service = "order",
    rel     = "order",
    fields  = {
      integer "branchId",
      text    "sauceId",
      integer "qty",
      integer "price",
      text    "state" { default = "Registered" },
    },

    -- An order that cannot be paid in time is not accepted.
    on_create = function(order)
      pay:call(function()
        http.post("http://payment/payments", { orderId = order.id, price = order.price })
      end)
      bus.emit("Ordered", order)
    end,
  },

  health.is_healthy("order"),
}

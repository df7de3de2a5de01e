local pay = breaker "pay"

local order_fields = { integer "id", text "item", integer "qty", text "status" }

-- The price of an order by the price list; an item that is not on it cannot be ordered.
local function price_of(order)
  local price = config.prices[order.item]
  if not price then
    local items = {}
    for item in pairs(config.prices) do items[#items + 1] = item end
    table.sort(items)
    fail(400, ('there is no price for "%s"; there is %s'):format(order.item, table.concat(items, ", ")))
  end
  return price * order.qty
end

return {
  event "Ordered"       { service = "order", key = { order = "id" }, fields = order_fields },
  event "OrderCanceled" { service = "order", key = { order = "id" }, fields = order_fields },

  resource "orders" {
    service = "order",
    rel     = "order",
    fields  = {
      text    "item" { required = true },
      integer "qty"  { min = 1, default = 1 },
      text    "status",
    },

    -- An order that is not paid is not accepted.
    on_create = function(order)
      local price = price_of(order)
      pay:call(function()
        http.post("http://pay/payments", { orderId = order.id, price = price, action = "apply" })
      end)
      bus.emit("Ordered", order)
    end,

    on_delete = function(order)
      bus.emit("OrderCanceled", order)
    end,
  },
}

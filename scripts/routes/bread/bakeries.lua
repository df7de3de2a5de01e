local bakery_fields = { integer "id", integer "orderId", text "status" }

local function announce(bakery)
  bus.emit(bakery.status == "Confirmed" and "OrderConfirmed" or "BakeryStatusChanged", bakery)
end

return {
  event "OrderConfirmed"      { service = "bakery", key = { order = "orderId" }, fields = bakery_fields },
  event "BakeryStatusChanged" { service = "bakery", key = { order = "orderId" }, fields = bakery_fields },

  -- What the bakery makes of an order. Its rows come from "bakery confirms when paid"; the baker may change them.
  resource "bakeries" {
    service = "bakery",
    rel     = "bakery",
    fields  = {
      integer "orderId" { required = true, unique = true },
      text    "status",
    },
    finders = { findByOrderId = { "orderId" } },

    -- One row an order: whoever confirms again, by hand, confirms that one.
    before_create = function(row)
      local existing = store.first("bakeries", { orderId = row.orderId })
      if existing and existing.status ~= row.status then
        existing = store.update("bakeries", existing.id, { status = row.status })
        announce(existing)
      end
      return existing
    end,

    on_create = announce,

    on_update = function(bakery, before)
      if bakery.status ~= before.status then announce(bakery) end
    end,
  },
}

return {
  event "Delivered" {
    service = "delivery",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId", text "state" },
  },

  -- Its rows come from the policy "delivery is prepared when paid"; whoever delivers says so with PATCH.
  resource "deliveries" {
    service = "delivery",
    rel     = "delivery",
    fields  = {
      integer "orderId" { required = true },
      text    "branchLoc",
      integer "sauceId",
      integer "qty",
      text    "state" { default = "Preparing" },
    },

    on_create = function(delivery)
      bus.emit("Delivered", delivery)
    end,

    -- A change that names no state means that the delivery is done.
    before_update = function(delivery, _, context)
      if context.body.state == nil then delivery.state = "Complete" end
    end,

    on_update = function(delivery)
      bus.emit("Delivered", delivery)
    end,
  },
}

local customer_key = { customer = "customerId" }

return {
  event "Registered" { service = "customer", key = customer_key, fields = { integer "customerId" } },
  event "Changed"    { service = "customer", key = customer_key, fields = { integer "customerId" } },
  event "Deleted"    { service = "customer", key = customer_key, fields = { integer "customerId" } },

  resource "customers" {
    service = "customer",
    rel     = "customer",
    id      = "customerId",
    fields  = { text "customerName" },

    on_create = function(customer) bus.emit("Registered", { customerId = customer.customerId }) end,
    on_update = function(customer) bus.emit("Changed", { customerId = customer.customerId }) end,
    on_delete = function(customer) bus.emit("Deleted", { customerId = customer.customerId }) end,
  },
}

-- SPDX-License-Identifier: MIT
-- The events that the host itself emits, as service "moontide": every program has them, scripts may react to them
-- (`on = "ServiceStopped"`) but not emit or declare them. core/script/host_events.h tells how to add one.
local function host_event(name, key_name, key_field, ...)
  local fields = {}
  for i, spelled in ipairs { ... } do
    local field_type, field_name = spelled:match("^(%l+) (%w+)$")
    fields[i] = { type = field_type, name = field_name }
  end
  return { kind = "event", service = "moontide", name = name, key_name = key_name, key_field = key_field,
    fields = fields }
end

return {
  host_event("ServiceStopped", "service", "service", "text service"),
  host_event("ServiceStarted", "service", "service", "text service"),
  host_event("GenerationActivated", "generation", "generation", "integer generation", "integer previous",
    "text origin"),
  host_event("LetterRetried", "letter", "letter", "integer letter"),
  host_event("BreakerOpened", "breaker", "breaker", "text breaker", "text from", "text to", "integer errors",
    "integer results"),
  host_event("BreakerReopened", "breaker", "breaker", "text breaker", "text from", "text to", "integer errors",
    "integer results"),
  host_event("BreakerHalfOpened", "breaker", "breaker", "text breaker", "text from", "text to", "integer errors",
    "integer results"),
  host_event("BreakerClosed", "breaker", "breaker", "text breaker", "text from", "text to", "integer errors",
    "integer results"),
  host_event("LetterDiscarded", "letter", "letter", "integer letter"),
}

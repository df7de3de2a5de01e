-- Orders are refused while it is open: whoever keeps the shop should know.
return policy "alarm when breaker opens" { service = "bookalarm", on = "BreakerOpened", handle = function(event)
  store.create("breakerAlarms", { breaker = event.breaker, message = "Breaker Opened : " .. event.breaker })
end }

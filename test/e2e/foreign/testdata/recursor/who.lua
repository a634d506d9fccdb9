-- Answers every question with what the server takes for the client and for the address that the client asked.
function preresolve(dq)
  local seen = dq.remoteaddr:toStringWithPort() .. " " .. dq.localaddr:toStringWithPort()
  dq:addAnswer(pdns.TXT, '"' .. seen .. '"', 0)
  return true
end

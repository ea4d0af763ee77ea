-- Updates everybody as fast as the server may, in one stage. For small fleets, and for what cannot wait.
-- Pauses when more than 10 % fail.
return {
  concurrency = 2000,
  max_failure = 0.10,
}

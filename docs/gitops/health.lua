-- Argo CD's health of a DeepSeekModel, TrainingRun or InferenceService, by the rules of kstatus.
local function condition(kind)
  for _, entry in ipairs(obj.status and obj.status.conditions or {}) do
    if entry.type == kind then
      return entry
    end
  end
  return {}
end

local ready, stalled = condition("Ready"), condition("Stalled")

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = condition("DeletionBlocked").message or "being deleted" }
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen this generation yet" }
end
if stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end
if obj.spec ~= nil and obj.spec.suspend and ready.status ~= "True" then
  return { status = "Suspended", message = ready.message or "suspended" }
end
if condition("Reconciling").status == "True" then
  return { status = "Progressing", message = condition("Reconciling").message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = ready.message or "not ready yet" }

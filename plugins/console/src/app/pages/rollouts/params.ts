// Parameters of a rollout, as they are typed and as policies read them.

/** Names of the parameters that a policy's source reads or speaks of. */
export function paramsRead(source: string): string[] {
  return [...new Set([...source.matchAll(/\bparams\.([A-Za-z_]\w*)/g)].map((match) => match[1]))];
}

/** A JSON object, or what is wrong with the text. Nothing is an empty one. */
export function readParams(text: string): { params: Record<string, unknown> } | { problem: string } {
  if (!text.trim()) return { params: {} };
  try {
    const params = JSON.parse(text);
    if (params && typeof params === 'object' && !Array.isArray(params)) return { params };
    return { problem: 'Write a JSON object, such as {"timezone": "Europe/Berlin"}' };
  } catch (error) {
    return { problem: `This is not JSON: ${error instanceof Error ? error.message : error}` };
  }
}

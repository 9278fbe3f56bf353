/** A request that writes: JSON there, JSON back, and a failure in words that can be shown. */

/**
 * @returns the answer's JSON; null where there is none
 * @throws Error with a message for the reader of the page
 */
export async function postJson(url: string, body?: object): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      // No type without a body: a server may refuse an empty text as JSON.
      ...(body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    });
  } catch {
    throw new Error('The server did not answer.');
  }
  const answer = (await response.json().catch(() => null)) as { readonly message?: unknown } | null;
  if (response.ok) return answer;
  const reason = Array.isArray(answer?.message) ? answer.message.join('; ') : answer?.message;
  throw new Error(typeof reason === 'string' ? reason : `The server answered ${response.status}.`);
}

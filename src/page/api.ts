import * as session from './session.ts';

/** What the API refused, in its own words. */
export interface Problem {
  readonly status: number;
  readonly detail: string;
  readonly remedy?: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/**
 * Calls the API of the sidecar that this page is from.
 * @throws {ApiError} it answers no; {TypeError} it cannot be reached
 */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await fetch(path, {
    method,
    headers: { ...session.authorization(), ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
    cache: 'no-store',
  });
  const text = await response.text();
  if (response.ok) return (text === '' ? null : JSON.parse(text)) as T;
  throw new ApiError(problemOf(response.status, text));
}

export function problemOf(status: number, text: string): Problem {
  try {
    const given = JSON.parse(text) as Partial<Problem>;
    return { ...given, status, detail: given.detail ?? `It was answered ${status}.` };
  } catch {
    return { status, detail: `It was answered ${status}.` };
  }
}

/** What went wrong, in words for a person. */
export function reasonOf(error: unknown): string {
  if (error instanceof ApiError) {
    const { detail, errors = [], remedy } = error.problem;
    return [detail, ...errors.map(({ path, message }) => `${path} ${message}.`), remedy].filter(Boolean).join(' ');
  }
  return error instanceof Error ? `The sidecar cannot be reached: ${error.message}.` : String(error);
}

export const streamPath = (name: string): string => `/v1/streams/${encodeURIComponent(name)}`;

/** What `compile.mjs` exports. */
export const COMPILED: string;
export function compile(): void;

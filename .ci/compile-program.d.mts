/** What `compile-program.mjs` exports. */
export function compileProgram(folder: string): string;

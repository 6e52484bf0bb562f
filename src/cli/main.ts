#!/usr/bin/env node
/**
 * The varve command. Its exit codes are cli.md's, see errors.ts.
 */
import { run } from './run.ts';

// `varve … | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2));

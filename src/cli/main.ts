#!/usr/bin/env node
/**
 * The varve command. Its exit codes are cli.md's, see errors.ts.
 */
import { run } from './run.ts';

process.exitCode = await run(process.argv.slice(2));

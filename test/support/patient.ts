import { constants, setPriority } from 'node:os';

// Simulated time does not mind to wait: a file that imports this takes what others leave of the CPU.
setPriority(constants.priority.PRIORITY_LOW);

import { inject, Injectable } from '@angular/core';
import { MatSnackBar } from '@angular/material/snack-bar';
import { ApiError } from '../core/api';

/** Short words at the edge of the page about what was done, or why it was not. */
@Injectable({ providedIn: 'root' })
export class Toast {
  private readonly bar = inject(MatSnackBar);

  show(text: string): void {
    this.bar.open(text, 'Close');
  }

  error(error: unknown): void {
    this.bar.open(ApiError.of(error).text, 'Close', { duration: 12_000, politeness: 'assertive' });
  }

  /** Runs `action`; says what went wrong, or `done`. Returns whether it went well. */
  async around(action: () => Promise<unknown>, done?: string): Promise<boolean> {
    try {
      await action();
      if (done) this.show(done);
      return true;
    } catch (error) {
      this.error(error);
      return false;
    }
  }
}

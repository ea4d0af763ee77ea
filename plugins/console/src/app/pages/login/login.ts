import { ChangeDetectionStrategy, Component, computed, inject, input, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { Router } from '@angular/router';
import { Api, ApiError } from '../../core/api';
import { Session } from '../../core/session';
import { Problem } from '../../ui/notice';

/** Log in, or make an account; the first one of an installation, which becomes operator, is asked for at once. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatButtonModule, MatFormFieldModule, MatInputModule, Problem],
  templateUrl: './login.html',
  styleUrl: './login.scss',
})
export class LoginPage {
  private readonly api = inject(Api);
  protected readonly session = inject(Session);
  private readonly router = inject(Router);

  readonly to = input<string>();

  protected readonly first = signal(false);
  protected readonly making = signal(false); // an account, instead of logging in
  protected readonly email = signal('');
  protected readonly password = signal('');
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly wrong = computed(() => {
    const fields = new Map(this.error()?.errors.map(({ field, message }) => [field, message]));
    return { email: fields.get('email'), password: fields.get('password') };
  });

  constructor() {
    if (this.session.user()) this.leave();
    this.api.get<{ first: boolean }>('/auth/first').then(
      ({ first }) => {
        this.first.set(first);
        if (first) this.making.set(true);
      },
      () => {}, // who logs in will see what is wrong
    );
  }

  protected switch(): void {
    this.making.update((making) => !making);
    this.error.set(null);
  }

  protected async submit(): Promise<void> {
    this.busy.set(true);
    this.error.set(null);
    try {
      const account = { email: this.email().trim(), password: this.password() };
      if (this.making()) await this.api.post('/auth/register', account);
      await this.session.login(account.email, account.password);
      this.leave();
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }

  private leave(): void {
    const to = this.to();
    this.router.navigateByUrl(to?.startsWith('/') && !to.startsWith('/login') ? to : '/');
  }
}

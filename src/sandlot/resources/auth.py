"""Accounts of the API."""

from __future__ import annotations

from .. import models
from .._operations import identity
from .._resource import AsyncResource, Resource

__all__ = ["AsyncAuth", "Auth"]


class Auth(Resource):
    """Sign up, log in, change teams: each gives a token to make a client with.

    `Client(token=client.auth.login(email, password).token)` acts as that user. A token is valid for
    six hours, and not shown by `repr`.
    """

    def signup(self, email: str, password: str, name: str) -> models.AuthSession:
        """Make a user, who owns a team of their own.

        Args:
            email: Address; case does not matter.
            password: 8 characters or more.
            name: What to call them.

        Raises:
            ConflictError: There is a user with this address.
            PermissionDeniedError: The server takes no new users from this client.
        """
        return self._run(identity.sign_up(email, password, name))

    def login(self, email: str, password: str) -> models.AuthSession:
        """Get a token for the first team of a user.

        Raises:
            AuthenticationError: There is no such user, or it is not their password.
            PermissionDeniedError: The account is disabled, or in no team.
            RateLimitError: There were too many attempts; `retry_after` says how long to wait.
        """
        return self._run(identity.log_in(email, password))

    def switch_team(self, team_id: str) -> models.AuthSession:
        """Get a token for another team of the user whose token this client has.

        Raises:
            NotFoundError: There is no such team.
            PermissionDeniedError: The user is not in it.
        """
        return self._run(identity.switch_team(team_id))

    def me(self) -> models.Account:
        """Look up the account of the user whose token this client has.

        Raises:
            NotFoundError: The server knows nothing of accounts, as older ones do.
        """
        return self._run(identity.get_account())

    def rename(self, name: str) -> models.AuthSession:
        """Change what the user is called; the token in the answer says the new name.

        Args:
            name: 1 to 100 characters.
        """
        return self._run(identity.rename_account(name))

    def change_password(self, current: str, new: str) -> None:
        """Change the password of the user; all their tokens are invalid from then on.

        Args:
            current: What it is.
            new: What it shall be, 8 characters or more.

        Raises:
            AuthenticationError: The current one is another, or this client has no token.
            RateLimitError: There were too many attempts; `retry_after` says how long to wait.
        """
        self._run(identity.set_password(current, new))

    def delete_account(self, confirmation: str) -> None:
        """Delete the user, the teams that nobody else is in, and the API keys that they made.

        Args:
            confirmation: Address of the user, so that nobody does it by mistake.

        Raises:
            ConflictError: A team with others in it would be left without an owner.
            InvalidRequestError: It is another address.
        """
        self._run(identity.delete_account(confirmation))


class AsyncAuth(AsyncResource):
    """Sign up, log in, change teams: each gives a token to make a client with.

    `Client(token=client.auth.login(email, password).token)` acts as that user. A token is valid for
    six hours, and not shown by `repr`.
    """

    async def signup(self, email: str, password: str, name: str) -> models.AuthSession:
        """Make a user, who owns a team of their own.

        Args:
            email: Address; case does not matter.
            password: 8 characters or more.
            name: What to call them.

        Raises:
            ConflictError: There is a user with this address.
            PermissionDeniedError: The server takes no new users from this client.
        """
        return await self._run(identity.sign_up(email, password, name))

    async def login(self, email: str, password: str) -> models.AuthSession:
        """Get a token for the first team of a user.

        Raises:
            AuthenticationError: There is no such user, or it is not their password.
            PermissionDeniedError: The account is disabled, or in no team.
            RateLimitError: There were too many attempts; `retry_after` says how long to wait.
        """
        return await self._run(identity.log_in(email, password))

    async def switch_team(self, team_id: str) -> models.AuthSession:
        """Get a token for another team of the user whose token this client has.

        Raises:
            NotFoundError: There is no such team.
            PermissionDeniedError: The user is not in it.
        """
        return await self._run(identity.switch_team(team_id))

    async def me(self) -> models.Account:
        """Look up the account of the user whose token this client has.

        Raises:
            NotFoundError: The server knows nothing of accounts, as older ones do.
        """
        return await self._run(identity.get_account())

    async def rename(self, name: str) -> models.AuthSession:
        """Change what the user is called; the token in the answer says the new name.

        Args:
            name: 1 to 100 characters.
        """
        return await self._run(identity.rename_account(name))

    async def change_password(self, current: str, new: str) -> None:
        """Change the password of the user; all their tokens are invalid from then on.

        Args:
            current: What it is.
            new: What it shall be, 8 characters or more.

        Raises:
            AuthenticationError: The current one is another, or this client has no token.
            RateLimitError: There were too many attempts; `retry_after` says how long to wait.
        """
        await self._run(identity.set_password(current, new))

    async def delete_account(self, confirmation: str) -> None:
        """Delete the user, the teams that nobody else is in, and the API keys that they made.

        Args:
            confirmation: Address of the user, so that nobody does it by mistake.

        Raises:
            ConflictError: A team with others in it would be left without an owner.
            InvalidRequestError: It is another address.
        """
        await self._run(identity.delete_account(confirmation))

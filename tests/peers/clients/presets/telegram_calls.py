"""python-telegram-bot: the token stands in the path."""

import asyncio
import os

from telegram import Bot
from turns import turns


async def talk():
    async with Bot(os.environ["TELEGRAM_BOT_TOKEN"]) as bot:
        file = await bot.get_file("f")
        return [bot.bot, await bot.send_message(chat_id=1, text="hi"), await file.download_as_bytearray()]


def calls():
    yield from asyncio.run(talk())


turns(calls)

# The server, without PyTorch. It writes only into /tmp:
#   docker build -t digits .
#   docker run --read-only --tmpfs /tmp -p 8000:8080 -v ./models/digit-classifier:/opt/ml/model digits
# To follow a deployment: -e DIGITS_MODEL=s3://bucket/prefix, and the usual AWS_... variables.
FROM python:3.11-slim

WORKDIR /opt/digits
COPY requirements-serve.txt requirements-compute.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements-serve.txt
COPY digits digits
COPY serving serving
COPY serving/serve /usr/local/bin/serve
RUN python -m compileall -q digits serving

ENV PYTHONPATH=/opt/digits PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001
EXPOSE 8080
HEALTHCHECK --start-period=20s CMD no_proxy='*' python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez')"
CMD ["serve"]
